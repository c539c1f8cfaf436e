//! Names of 536 cities: the stations of the preset `measurements`.

/// Separated by commas.
pub(super) const STATIONS: &str = "Aberdeen,Abidjan,Abuja,Accra,Addis Ababa,Adelaide,Aden,Ahvaz,Albuquerque,Algiers,Alexandria,Alice Springs,\
    Almaty,Amman,Amsterdam,Anadyr,Anchorage,Ankara,Antalya,Antananarivo,Antwerp,Arequipa,Arkhangelsk,Ashgabat,\
    Asmara,Astana,Asunción,Athens,Atlanta,Auckland,Austin,Baghdad,Baku,Baltimore,Bamako,Bandung,Bangalore,\
    Bangkok,Bangui,Banjul,Barcelona,Bari,Basel,Basra,Bata,Beijing,Beirut,Belfast,Belgrade,Belize City,Belém,\
    Benghazi,Bergen,Berlin,Bern,Bilbao,Birmingham,Bishkek,Bissau,Blantyre,Bloemfontein,Bogotá,Boise,Bologna,\
    Bonn,Bordeaux,Boston,Brasília,Bratislava,Brazzaville,Bremen,Brest,Bridgetown,Brisbane,Bristol,Brno,Brussels,\
    Bucharest,Budapest,Buffalo,Bujumbura,Bukhara,Bulawayo,Burgas,Busan,Cairo,Cairns,Calgary,Cali,Canberra,\
    Cape Town,Caracas,Cardiff,Cartagena,Casablanca,Catania,Cayenne,Charlotte,Chelyabinsk,Chengdu,Chennai,\
    Chiang Mai,Chicago,Chihuahua,Chișinău,Chittagong,Chongqing,Christchurch,Cincinnati,Cleveland,Cluj,Coimbra,\
    Colombo,Columbus,Conakry,Concepción,Constanța,Copenhagen,Córdoba,Cork,Cotonou,Cracow,Cuenca,Curitiba,Cusco,\
    Da Nang,Dakar,Dallas,Damascus,Dar es Salaam,Darwin,Davao,Debrecen,Delhi,Denver,Detroit,Dhaka,Dijon,Dili,\
    Djibouti,Dodoma,Doha,Donetsk,Dortmund,Douala,Dresden,Dubai,Dublin,Dubrovnik,Duisburg,Dunedin,Durban,Durrës,\
    Dushanbe,Edinburgh,Edmonton,Eindhoven,El Paso,Erbil,Erfurt,Essen,Esfahan,Faisalabad,Faro,Fez,Florence,\
    Fortaleza,Frankfurt,Freetown,Fresno,Fukuoka,Funchal,Gaborone,Gangtok,Garissa,Gdańsk,Geneva,Genoa,Georgetown,\
    Ghent,Gibraltar,Glasgow,Gothenburg,Granada,Graz,Guadalajara,Guangzhou,Guatemala City,Guayaquil,Gyumri,Haifa,\
    Haiphong,Halifax,Hamburg,Hamilton,Hangzhou,Hannover,Hanoi,Harare,Harbin,Hargeisa,Hartford,Havana,Helsinki,\
    Heraklion,Hermosillo,Ho Chi Minh City,Hobart,Hong Kong,Honiara,Honolulu,Houston,Hyderabad,Iași,Ibadan,\
    Indianapolis,Innsbruck,Iquitos,Irkutsk,Islamabad,Istanbul,Izmir,Jacksonville,Jaffna,Jaipur,Jakarta,Jeddah,\
    Jerusalem,Johannesburg,Juba,Juneau,Kabul,Kaliningrad,Kampala,Kandahar,Kansas City,Kaohsiung,Karachi,Karonga,\
    Kathmandu,Kaunas,Kazan,Kharkiv,Khartoum,Kigali,Kingston,Kinshasa,Klagenfurt,Kolkata,Košice,Krasnoyarsk,\
    Kuala Lumpur,Kumasi,Kunming,Kuopio,Kuwait City,Kyiv,Kyoto,La Ceiba,La Paz,Lagos,Lahore,Las Palmas,Las Vegas,\
    Leeds,Leipzig,León,Leticia,Lhasa,Libreville,Lille,Lilongwe,Lima,Linz,Lisbon,Liverpool,Livingstone,Ljubljana,\
    Lodwar,Lomé,London,Los Angeles,Louisville,Luanda,Lublin,Lucerne,Lusaka,Luxembourg,Lviv,Lyon,Madrid,\
    Mahajanga,Makassar,Makurdi,Malabo,Málaga,Malé,Malmö,Managua,Manama,Manchester,Mandalay,Manila,Mannheim,\
    Maputo,Maracaibo,Marrakesh,Marseille,Maseru,Mashhad,Mbabane,Medan,Medellín,Medina,Melbourne,Memphis,Mérida,\
    Mexico City,Miami,Milan,Milwaukee,Minneapolis,Minsk,Mogadishu,Mombasa,Monaco,Monrovia,Montevideo,\
    Montpellier,Montreal,Monterrey,Moscow,Mosul,Mumbai,Munich,Murmansk,Muscat,N'Djamena,Nagoya,Nairobi,Nakuru,\
    Nantes,Naples,Nashville,Nassau,New Orleans,New York,Niamey,Nice,Nicosia,Nouakchott,Novosibirsk,Nuremberg,\
    Nuuk,Oaxaca,Odesa,Odense,Oklahoma City,Omaha,Oporto,Oran,Orlando,Osaka,Oslo,Ottawa,Ouagadougou,Oulu,\
    Palembang,Palermo,Palm Springs,Panama,Paramaribo,Paris,Parma,Penang,Perth,Petropavlovsk Kamchatsky,\
    Philadelphia,Phnom Penh,Phoenix,Pittsburgh,Plovdiv,Podgorica,Pointe Noire,Pontianak,Port Harcourt,\
    Port Louis,Port Moresby,Port Sudan,Port Vila,Portland,Poznań,Prague,Praia,Pretoria,Prishtina,Puebla,Pune,\
    Pyongyang,Quito,Rabat,Raleigh,Rangpur,Recife,Reggane,Regina,Reims,Rennes,Reykjavík,Riga,Rijeka,\
    Rio de Janeiro,Riyadh,Rome,Rosario,Roseau,Rostock,Rostov,Rotterdam,Sacramento,Salt Lake City,Salvador,\
    Salzburg,Samara,Samarkand,San Antonio,San Diego,San Francisco,San José,San Juan,San Salvador,Sana'a,\
    Santiago,Santander,Santo Domingo,São Paulo,São Tomé,Sapporo,Sarajevo,Saskatoon,Seattle,Ségou,Seoul,Seville,\
    Shanghai,Shenzhen,Sheffield,Shiraz,Singapore,Skopje,Sochi,Sofia,Sokoto,Split,Stavanger,Stockholm,Strasbourg,\
    Stuttgart,Sucre,Surabaya,Suva,Suwałki,Sydney,Szczecin,Tabora,Tabriz,Taipei,Tallinn,Tamale,Tamanrasset,Tampa,\
    Tampere,Tangier,Tartu,Tashkent,Tbilisi,Tegucigalpa,Tehran,Tel Aviv,Thessaloniki,Thiès,Tijuana,Timbuktu,\
    Tirana,Toamasina,Tokyo,Toronto,Toulouse,Trieste,Tripoli,Tromsø,Trondheim,Tunis,Turin,Turku,Ufa,Ulaanbaatar,\
    Umeå,Uppsala,Utrecht,Valencia,Valletta,Valparaíso,Vancouver,Varna,Venice,Veracruz,Verona,Victoria,Vienna,\
    Vientiane,Vigo,Vilnius,Vladivostok,Volgograd,Warsaw,Washington,Wellington,Whitehorse,Wichita,Windhoek,\
    Winnipeg,Wrocław,Wuhan,Xi'an,Yakutsk,Yangon,Yaoundé,Yellowknife,Yerevan,Yokohama,Yuma,Zagreb,Zanzibar,\
    Zaragoza,Zürich";
